import { existsSync, lstatSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adoptPartial, checkPaths } from "../../src/batch/output-paths.ts";
import { checkReportFile } from "../../src/cli/report-file.ts";
import { allMissing, openRun, resultOf, testFolder, writeInput } from "./files-fixture.ts";

describe("an output that is a link", () => {
  function linked(target: string) {
    const [folder, real] = [testFolder(), testFolder()];
    const [link, file] = [join(folder, "out.jsonl"), join(real, target)];
    symlinkSync(file, link);
    return { folder, real, link, file, input: writeInput([{ prompt: "a" }]) };
  }

  test.each([true, false])(
    "is written through; its other files lie beside the real one (there already: %s)",
    async (exists) => {
      const { folder, real, link, file, input } = linked("real.jsonl");
      if (exists) writeFileSync(file, "");
      expect(checkPaths(input, link)).toMatchObject({ output: file, partial: `${file}.partial` });
      const { index, output } = await openRun(input, link);
      await output.append([resultOf(allMissing(index)[0]!)]);
      expect(readdirSync(real)).toEqual(expect.arrayContaining(["real.jsonl.index", "real.jsonl.partial"]));
      await output.finish();
      expect([readdirSync(folder), readdirSync(real)]).toEqual([["out.jsonl"], ["real.jsonl"]]);
      expect(lstatSync(link).isSymbolicLink()).toBe(true);
      expect(readFileSync(link, "utf8")).toContain("answer 1");
    },
  );

  test("what version 0.1 began beside the link is gone on with", () => {
    const { link, file } = linked("real.jsonl");
    writeFileSync(`${link}.partial`, "begun");
    adoptPartial(link);
    expect(existsSync(`${link}.partial`)).toBe(false);
    expect(readFileSync(`${file}.partial`, "utf8")).toBe("begun");
    writeFileSync(`${link}.partial`, "other");
    adoptPartial(link);
    expect(readFileSync(`${file}.partial`, "utf8")).toBe("begun");
  });

  test("links to nothing are refused where nobody would look for the file", () => {
    const { link, file, input, folder } = linked("real.jsonl");
    const report = join(folder, "report.json");
    symlinkSync(join(folder, "none"), report);
    expect(() => checkReportFile(report, input, link)).toThrow("is a link to nothing");
    symlinkSync(join(folder, "none"), `${file}.partial`);
    expect(() => checkPaths(input, link)).toThrow(`${file}.partial is a link to nothing`);
    const lost = join(folder, "lost.jsonl");
    symlinkSync(join(folder, "no", "such", "out.jsonl"), lost);
    expect(() => checkPaths(input, lost)).toThrow("does not exist");
    symlinkSync("self", join(folder, "self"));
    expect(() => checkPaths(input, join(folder, "self"))).toThrow("link to nothing");
  });
});
