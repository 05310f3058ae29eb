export function findProgram(name: string): string | undefined;
export function missingPrograms(names: readonly string[]): string[];
export function installCommand(names: readonly string[]): string;
export function installPrograms(names: readonly string[], say: (line: string) => void): void;
