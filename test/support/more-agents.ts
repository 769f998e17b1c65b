import { GenericAgent } from "../../src/index.ts";

export const agents = [new GenericAgent(), new GenericAgent({ name: "adder" })];
