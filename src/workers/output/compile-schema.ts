export { compileSchema } from "../../shared/compile-schema.ts";
