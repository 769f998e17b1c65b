const HINT = "see `gluellm batch run --help` for the accepted lines";

/** One line is no valid request: a failed row, not a failed run. The message never quotes the line. */
export class RowFault extends Error {
  /** Stable, machine-readable: `invalid_json_line`, `missing_prompt`, … */
  readonly code: string;
  readonly hint: string;
  /** The line's custom_id when that much could be read. */
  customId: string | undefined;

  constructor(code: string, message: string, hint = HINT) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}
