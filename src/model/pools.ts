/** Pools that run their tasks in child processes, by the names that `--pool` takes. */
const poolsWithChildren: readonly string[] = ['prefork', 'processes'];
/** Pools that run their tasks in the main process. A pool that is in neither list is not known. */
const poolsWithoutChildren: readonly string[] = ['solo', 'threads', 'gevent', 'eventlet'];

export const hasChildren = (pool: string): boolean => poolsWithChildren.includes(pool);
export const hasNoChildren = (pool: string): boolean => poolsWithoutChildren.includes(pool);
