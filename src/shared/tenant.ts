import { z } from "zod";

/** The tenant of everything that names none. */
export const DEFAULT_TENANT = "default";

/** A tenant's name: 1 to 64 letters, digits, `-`, `_` and `.`, of which a letter or digit comes first. */
export const tenantSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/,
    "must be 1 to 64 letters, digits, -, _ or ., a letter or digit first",
  );
