/** The error of a request that the vendor would not accept; it becomes an error in the dialect's shape. */
export class InvalidCallError extends Error {
  readonly param: string | undefined;
  readonly status: 400 | 404;

  constructor(message: string, param?: string, status: 400 | 404 = 400) {
    super(message);
    this.param = param;
    this.status = status;
  }
}
