/** What a cluster can do without: `copepod server --disable=…`. */
export type Component = 'ingress' | 'servicelb' | 'local-storage' | 'metrics' | 'dashboard';
