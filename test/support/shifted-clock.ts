/** Preloaded by a process whose machine's clock is to be wrong: by what the file named in SHIFT_FILE says, in ms. */
import { readFileSync } from "node:fs";

const RightDate = Date;
const rightNow = Date.now;
Date.now = () => rightNow() + Number(readFileSync(process.env.SHIFT_FILE ?? "", "utf8"));
globalThis.Date = new Proxy(RightDate, {
  construct: (date, args, target) => Reflect.construct(date, args.length > 0 ? args : [Date.now()], target),
});
