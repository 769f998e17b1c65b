/** Options of a pool. */
export interface ResourcePoolOptions<T> {
  /** By which metrics tell of it, as `gluellm_resource_pool`; default: they do not. */
  name?: string;
  /** Makes a resource, such as a connection or a process; the signal aborts when the pool closes. */
  create: (signal: AbortSignal) => Promise<T> | T;
  /** Ends a resource; what it throws is passed over. Default: nothing, but for what has `Symbol.asyncDispose` or `Symbol.dispose`. */
  destroy?: (resource: T) => unknown;
  /**
   * Whether a resource still works: asked before it is used again after `checkAfterMs`, or after a use that failed. One that does
   * not, throws or takes longer than 5 s is replaced. Default: all work.
   */
  check?: (resource: T) => Promise<boolean> | boolean;
  /** How many resources there are at a time; default 1. */
  max?: number;
  /** How many may use one resource at a time; default 1. */
  maxUsers?: number;
  /** After so many milliseconds without a use a resource is ended; default never. */
  idleMs?: number;
  /** The age of the last use after which `check` is asked, in milliseconds; default 30,000. */
  checkAfterMs?: number;
  /** The first wait after a resource could not be made, in milliseconds; it doubles up to `maxBackoffMs`. Default 100. */
  backoffMs?: number;
  /** Default 5,000. */
  maxBackoffMs?: number;
}

/** What a pool has and did. */
export interface ResourcePoolMetrics {
  /** Resources that there are, those in use among them. */
  size: number;
  inUse: number;
  /** Callers that wait for one. */
  waiting: number;
  created: number;
  destroyed: number;
  /** Resources that `check` found broken. */
  failedChecks: number;
  failedCreates: number;
}

/** A resource for one use; disposing of it gives it back. */
export interface Lease<T> extends AsyncDisposable {
  readonly resource: T;
  /** Has the resource checked before its next use: the present one went wrong. */
  suspect(): void;
  /** Has the resource ended and replaced: it is broken. */
  discard(): void;
}
