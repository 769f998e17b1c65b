/** The error of a request that the vendor would not accept; it becomes a 400 in the dialect's shape. */
export class InvalidCallError extends Error {
  readonly param: string | undefined;

  constructor(message: string, param?: string) {
    super(message);
    this.param = param;
  }
}
