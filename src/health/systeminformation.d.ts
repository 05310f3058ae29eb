/** The package describes its index only; the parts are imported one by one for their memory. */
declare module 'systeminformation/lib/memory.js' {
  const memory: { mem(): Promise<{ total: number; available: number }> };
  export default memory;
}
