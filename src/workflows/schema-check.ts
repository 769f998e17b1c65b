export { checkWith } from "../shared/schema-check.ts";
