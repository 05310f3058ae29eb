export interface EngineLayout {
  id: string;
  dataRoot: string;
  log: string;
  execRoot: string;
  pidfile: string;
  socket: string;
}
export function engineLayout(dataDir: string): EngineLayout;
export function engineArguments(layout: EngineLayout): string[];
export function enginePid(layout: EngineLayout): number | undefined;
export function startEngine(
  layout: EngineLayout,
  options?: { prefix?: readonly string[]; timeoutMs?: number; extraArguments?: readonly string[] },
): Promise<{ pid: number; adopted: boolean }>;
export function stopEngine(layout: EngineLayout, options?: { graceSeconds?: number }): Promise<boolean>;
export function removeEngineFiles(layout: EngineLayout): void;
