/** What a request may be called. */
export const REQUEST_ID = /^[\w.:-]{1,128}$/;
/** Version 00 of W3C Trace Context. */
export const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
/** The longest `tracestate` that is taken. */
export const MAX_TRACESTATE_CHARS = 512;
