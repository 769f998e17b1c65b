/*
 * Parts of a user message in the words of OpenAI's Chat Completions, sent to providers of that dialect as they are.
 * Aliases, not interfaces, which could not be passed on as messages of any fields.
 */

/** A text. */
export type TextPart = {
  type: "text";
  /** The text, at most 4 MiB. */
  text: string;
};

/** A picture. */
export type ImagePart = {
  type: "image_url";
  image_url: {
    /** An https URL, or a data URL: `data:image/png;base64,…`. */
    url: string;
    /** How closely the model looks; default `auto`. */
    detail?: "auto" | "low" | "high";
  };
};

/** A sound. Anthropic's models take none. */
export type AudioPart = {
  type: "input_audio";
  input_audio: { /** Base64. */ data: string; format: "wav" | "mp3" };
};

/** A document: its data and name, or the id of one that was uploaded to an OpenAI account. */
export type FilePart = {
  type: "file";
  file: {
    /** The document as a data URL: `data:application/pdf;base64,…`. Anthropic's models take PDF and plain text. */
    file_data?: string;
    /** The name that the model sees. */
    filename?: string;
    /** The id of an uploaded document; not for Anthropic's models. */
    file_id?: string;
  };
};

/** A part of a type that only some providers know. */
export type OtherPart = { type: string; text?: string; [field: string]: unknown };

/** One of a message's parts. A request may have 20 MiB in all, base64 included. */
export type ContentPart = TextPart | ImagePart | AudioPart | FilePart | OtherPart;
