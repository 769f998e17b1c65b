import type { Step } from "../types.ts";

/** A line of the waterfall: a step, or a scope of steps. */
export type Row =
  | { type: "step"; step: Step; depth: number; name: string }
  | { type: "group"; path: string; depth: number; steps: number; failed: number };

/** Returns a step's name with its scopes; the rounds of a debate are one, too. */
export function scopedName(step: string): string {
  return step.replace(/(^|\/)(round \d+) /, "$1$2/");
}

/** The steps as a tree of their scopes: `left/draft` stands below `left`. */
export function treeRows(steps: readonly Step[]): Row[] {
  interface Node {
    path: string;
    children: (Node | Step)[];
    steps: number;
    failed: number;
  }
  const root: Node = { path: "", children: [], steps: 0, failed: 0 };
  const nodes = new Map([["", root]]);
  const nodeOf = (path: string): Node => {
    const known = nodes.get(path);
    if (known) return known;
    const made: Node = { path, children: [], steps: 0, failed: 0 };
    nodes.set(path, made);
    nodeOf(path.slice(0, Math.max(0, path.lastIndexOf("/")))).children.push(made);
    return made;
  };
  for (const step of steps) {
    const name = scopedName(step.step);
    const path = name.slice(0, Math.max(0, name.lastIndexOf("/")));
    nodeOf(path).children.push(step);
    for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      const node = nodeOf(at);
      node.steps++;
      if (step.state === "failed") node.failed++;
      if (at === "") break;
    }
  }
  const rows: Row[] = [];
  const walk = (node: Node, depth: number) => {
    for (const child of node.children) {
      if ("children" in child) {
        rows.push({ type: "group", path: child.path, depth, steps: child.steps, failed: child.failed });
        walk(child, depth + 1);
      } else {
        const name = scopedName(child.step);
        rows.push({ type: "step", step: child, depth, name: name.slice(name.lastIndexOf("/") + 1) });
      }
    }
  };
  walk(root, 0);
  return rows;
}
