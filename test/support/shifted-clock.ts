/** Preloaded by a process whose machine's clock is to be wrong: by what the file named in SHIFT_FILE says, in ms. */
import { readFileSync } from "node:fs";

const rightNow = Date.now;
Date.now = () => rightNow() + Number(readFileSync(process.env.SHIFT_FILE ?? "", "utf8"));
