export const root: string;
export function buildBundle(outdir: string): Promise<Record<string, number>>;
export function nativeAddon(arch: string): string;
export function isFresh(outdir: string): boolean;
