export const BUSYBOX_IMAGE: string;
export function ensureBusyboxImage(socket: string, say?: (line: string) => void): Promise<void>;
