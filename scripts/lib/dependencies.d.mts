export function dependenciesAreInstalled(): boolean;
export function ensureDependencies(say: (line: string) => void): void;
export function pinnedNode(): string;
