// Compiles the console: into the folder that is given, for the published package, or to where a checkout keeps it, for an image
// in which packages of development are left out.
import { compileConsole, compiledConsole } from "../dashboards/compile-console.ts";

const [folder] = process.argv.slice(2);
if (folder === undefined) process.stdout.write(`${await compiledConsole()}\n`);
else await compileConsole(folder);
