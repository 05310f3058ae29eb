export interface Violation {
  path: string;
  line: number;
  rule: string;
  reason: string;
}
export function checkSources(files: Map<string, string>): Violation[];
