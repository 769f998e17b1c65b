import { z } from "zod";
import { Secret } from "./secret.ts";

const PLACE = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([\w!.*'()/-]*))?$/;

/** Variables of the store that has the bytes of the API's files. */
export const fileStoreVariables = {
  FILE_STORE: z.string().regex(PLACE, "must be s3://bucket or s3://bucket/prefix").optional(),
  FILE_STORE_REGION: z.string().optional(),
  FILE_STORE_ENDPOINT: z
    .string()
    .regex(/^https?:\/\//, "must start with http:// or https://")
    .refine((text) => URL.canParse(text), "is not a URL")
    .optional(),
  FILE_STORE_ACCESS_KEY_ID: z.string().optional(),
  FILE_STORE_SECRET_ACCESS_KEY: z.string().optional(),
};
type Values = { [Name in keyof typeof fileStoreVariables]?: string | undefined };

/** A bucket in a store that speaks S3. */
export interface S3Place {
  bucket: string;
  /** Before each key, with a slash at its end; or empty. */
  prefix: string;
  /** Undefined: as AWS's SDK finds it. */
  region: string | undefined;
  /** Of a store that is not AWS's. */
  endpoint: string | undefined;
  /** Undefined: as AWS's SDK finds them, from its environment variables, its files or the machine's role. */
  credentials: { accessKeyId: string; secretAccessKey: Secret } | undefined;
}

/** Returns where the bytes of the API's files are; undefined: in the data folder. */
export function fileStoreSetting(values: Values): S3Place | undefined {
  const [, bucket, prefix = ""] = PLACE.exec(values.FILE_STORE ?? "") ?? [];
  if (bucket === undefined) return undefined;
  const {
    FILE_STORE_ACCESS_KEY_ID: accessKeyId,
    FILE_STORE_SECRET_ACCESS_KEY: secret,
    FILE_STORE_ENDPOINT: endpoint,
  } = values;
  const folders = prefix.split("/").filter((name) => name !== "");
  return {
    bucket,
    prefix: folders.map((name) => `${name}/`).join(""),
    // A store of another maker takes any.
    region: values.FILE_STORE_REGION ?? (endpoint === undefined ? undefined : "us-east-1"),
    endpoint,
    credentials:
      accessKeyId !== undefined && secret !== undefined
        ? { accessKeyId, secretAccessKey: new Secret(secret) }
        : undefined,
  };
}
