import { z } from "zod";
import { defineWorkflow, type WorkflowContext } from "../../src/index.ts";

const input = z.object({ id: z.string() });
const ask = async (ctx: WorkflowContext, id: string, name: string) => {
  const { finalResponse } = await ctx.complete(name, `${id} ${name}\n#sim {"reply": "${name}"}`);
  return finalResponse;
};

export const leaf = defineWorkflow({
  name: "leaf",
  input,
  output: z.string(),
  run: async (ctx, { id }) => `${await ask(ctx, id, "x")}${await ask(ctx, id, "y")}`,
});

/** A bit of everything: in turn, side by side, a race, local work, a child, a sleep, a signal. */
export const mixed = defineWorkflow({
  name: "mixed",
  input,
  output: z.array(z.string()),
  run: async (ctx, { id }) => {
    const chain: string[] = [];
    for (const name of ["a", "b"]) chain.push(await ask(ctx, id, name));
    const { left, right } = await ctx.branches({
      left: async (branch) =>
        `${await ask(branch, `${id} left`, "c")}${await ask(branch, `${id} left`, "d")}`,
      right: async (branch) => branch.run("local", () => "r"),
    });
    await ctx.sleep(20);
    const [child, raced] = await Promise.all([
      ctx.child("child", leaf, { id: `${id} child` }),
      Promise.race([ask(ctx, id, "e").then(() => "raced"), ctx.waitFor("never")]),
    ]);
    const go = await ctx.waitFor<string>("go");
    return [...chain, left, right, child, String(raced), go, await ask(ctx, id, "f")];
  },
});
