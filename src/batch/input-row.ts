/** A row as it lies in the input. */
export interface InputRow {
  /** Of JSON lines the line, blank ones counted; elsewhere the row. From 1. */
  line: number;
  /** The line of the file on which it begins. */
  fileLine: number;
  offset: number;
  bytes: number;
  /** Only valid until the next row is asked for; of a row that is `tooLong` only the first 4 KiB. */
  data: Buffer;
  tooLong: boolean;
  nextOffset: number;
  /** The line of the file at `nextOffset`. */
  nextFileLine: number;
}

/** Where reading may begin: after so many rows (of JSON lines: lines), at a byte of a line. */
export interface RowStart {
  row: number;
  offset: number;
  fileLine: number;
}
