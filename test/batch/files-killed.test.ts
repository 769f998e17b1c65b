import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { DiskIndex } from "../../src/batch/disk-index.ts";
import { checkPaths } from "../../src/batch/output-paths.ts";
import { readBatchId } from "../../src/batch/partial-header.ts";
import { InputError } from "../../src/shared/errors.ts";
import { outputOf, startNode } from "../support/processes.ts";
import { sampleOf } from "../support/sample.ts";
import { waitFor } from "../support/wait-for.ts";
import { allMissing, openRun, resultOf, testFolder, writeInput } from "./files-fixture.ts";

const PROGRAM = join(import.meta.dirname, "files-child.ts");
const ROWS = ["a", "b", "c", "d"].map((prompt) => ({ prompt }));

/** A run that appended all but the last row, and what it knew at the end. */
async function interruptedRun() {
  const folder = testFolder();
  const inputPath = writeInput(ROWS, folder);
  const outputPath = join(folder, "out.jsonl");
  const { index, output } = await openRun(inputPath, outputPath);
  for (const row of allMissing(index).slice(0, 3)) await output.append([resultOf(row)]);
  await output.close();
  return { inputPath, outputPath, partial: `${outputPath}.partial`, batchId: output.batchId };
}

async function finishRun(inputPath: string, outputPath: string) {
  const { index, output } = await openRun(inputPath, outputPath);
  const missing = allMissing(index);
  if (missing.length > 0) await output.append(missing.map((row) => resultOf(row)));
  await output.finish();
  const lines = readFileSync(outputPath, "utf8").trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).response.body.choices[0].message.content)).toEqual(
    ROWS.map((_, i) => `answer ${i + 1}`),
  );
  expect(readdirSync(join(outputPath, "..")).sort()).toEqual(["in.jsonl", "out.jsonl"]);
  return missing.map(({ line }) => line);
}

describe("killed while writing", () => {
  test("a partial cut at every byte of its last two lines goes on with what is whole", async () => {
    const { inputPath, outputPath, partial, batchId } = await interruptedRun();
    const whole = readFileSync(partial);
    const ends = [...whole.entries()].filter(([, byte]) => byte === 0x0a).map(([at]) => at + 1);
    expect(ends).toHaveLength(4);
    const sizes = Array.from({ length: whole.length - ends[1]! + 1 }, (_, n) => ends[1]! + n);
    for (const size of [...sampleOf("cuts of a partial", sizes, 40), ...ends.slice(1)]) {
      writeFileSync(partial, whole.subarray(0, size));
      const { index, output } = await openRun(inputPath, outputPath);
      const kept = ends.filter((end) => end <= size).length - 1;
      expect(output).toMatchObject({ batchId, resumed: true, carried: kept });
      expect(allMissing(index).map(({ line }) => line)).toEqual([1, 2, 3, 4].slice(kept));
      await output.append([resultOf(allMissing(index)[0]!)]);
      await output.close();
      expect(
        readFileSync(partial, "utf8")
          .trimEnd()
          .split("\n")
          .map((line) => Object.keys(JSON.parse(line))[0]),
      ).toEqual(["gluellm_batch", ...Array(kept + 1).fill("id")]);
    }
    await finishRun(inputPath, outputPath);
  });

  test("a partial cut within its header begins anew", async () => {
    const { inputPath, outputPath, partial, batchId } = await interruptedRun();
    const header = readFileSync(partial, "utf8").split("\n")[0]!;
    const sizes = Array.from({ length: header.length + 1 }, (_, size) => size);
    for (const size of sampleOf("cuts of a header", sizes, 20)) {
      writeFileSync(partial, header.slice(0, size));
      expect(readBatchId(outputPath)).toBeUndefined();
      const { output } = await openRun(inputPath, outputPath);
      expect(output).toMatchObject({ resumed: false, carried: 0 });
      expect(output.batchId).not.toBe(batchId);
      expect(readBatchId(outputPath)).toBe(output.batchId);
      await output.close();
    }
  });

  test("lines a power cut left as zeros or out of order are missing, the others stay", async () => {
    const { inputPath, outputPath, partial } = await interruptedRun();
    const [header, a, b, c] = readFileSync(partial, "utf8").split("\n");
    writeFileSync(partial, [header, c, "\0".repeat(b!.length), a, `${"\0".repeat(99)}\r`, ""].join("\n"));
    const { index, output } = await openRun(inputPath, outputPath);
    expect(allMissing(index).map(({ line }) => line)).toEqual([2, 4]);
    await output.append([resultOf(allMissing(index)[0]!)]);
    await output.close();
    expect(await finishRun(inputPath, outputPath)).toEqual([4]);
  });

  test("between the new output's place and the partial's removal", async () => {
    const { inputPath, outputPath, partial } = await interruptedRun();
    const { index, output } = await openRun(inputPath, outputPath);
    await output.append(allMissing(index).map((row) => resultOf(row)));
    const left = readFileSync(partial);
    await output.finish();
    writeFileSync(partial, left);
    const before = readFileSync(outputPath, "utf8");
    expect(await finishRun(inputPath, outputPath)).toEqual([]);
    expect(readFileSync(outputPath, "utf8")).toBe(before);
  });

  test("leftovers of the last step are cleared away", async () => {
    const { inputPath, outputPath } = await interruptedRun();
    for (const path of [outputPath, outputPath.replace(".jsonl", ".errors.jsonl")])
      writeFileSync(`${path}.tmp`, "half");
    writeFileSync(`${outputPath}.index`, "not a database");
    expect(await finishRun(inputPath, outputPath)).toEqual([4]);
  });
});

describe("another process", () => {
  test("a live run's output is refused, a killed one's taken over", async () => {
    const folder = testFolder();
    const inputPath = writeInput(ROWS, folder);
    const outputPath = join(folder, "out.jsonl");
    const { child, stdout, exit } = startNode([PROGRAM, "hold", inputPath, outputPath]);
    await waitFor("the other run", () => stdout().includes("ready"));
    expect(() => DiskIndex.create(outputPath)).toThrow(InputError);
    expect(() => DiskIndex.create(outputPath)).toThrow("another run is writing");
    expect(existsSync(`${outputPath}.index`)).toBe(true);
    child.kill("SIGKILL");
    await exit;
    expect(await finishRun(inputPath, outputPath)).toEqual([2, 3, 4]);
  });

  test("within one process too", () => {
    const outputPath = join(testFolder(), "out.jsonl");
    using _index = DiskIndex.create(outputPath);
    expect(() => DiskIndex.create(outputPath)).toThrow("another run is writing");
  });

  test("a write that fails half-way leaves the partial as it was and acknowledges nothing", {
    tags: "long",
  }, async () => {
    const folder = testFolder();
    const inputPath = writeInput(ROWS, folder);
    const outputPath = join(folder, "out.jsonl");
    const limited = `ulimit -f 2048; exec "${process.execPath}" "${PROGRAM}" fill "${inputPath}" "${outputPath}"`;
    expect(JSON.parse(await outputOf("bash", ["-c", limited]))).toEqual({
      error: {
        name: "ConfigurationError",
        code: "output_failed",
        message: `cannot write ${outputPath}.partial: the file would become larger than the system allows`,
      },
      sameSize: true,
      missingAfterFailure: 3,
      missingAfterNext: 2,
    });
    expect(await finishRun(inputPath, outputPath)).toEqual([3, 4]);
  });
});

describe("checkPaths", () => {
  const refusal = (inputPath: string, outputPath: string) => {
    try {
      checkPaths(inputPath, outputPath);
    } catch (error) {
      expect(error).toBeInstanceOf(InputError);
      return (error as InputError).message;
    }
    return undefined;
  };

  test("names what is wrong before anything is read", () => {
    const folder = testFolder();
    const input = writeInput(ROWS, folder);
    const out = join(folder, "out.jsonl");
    expect(checkPaths(input, out)).toMatchObject({
      input,
      output: out,
      errors: join(folder, "out.errors.jsonl"),
    });
    expect(refusal("-", out)).toContain("standard input");
    expect(refusal(input, "-")).toContain("standard output");
    expect(refusal(join(folder, "none"), out)).toContain("no such file");
    expect(refusal(folder, out)).toContain("it is a folder");
    expect(refusal("/dev/null", out)).toContain("is not a file");
    expect(refusal(input, join(folder, "none", "out.jsonl"))).toContain("none does not exist");
    expect(refusal(input, folder)).toContain("is not a file");
    expect(refusal(input, "/dev/null")).toContain("is not a file");
    expect(refusal(input, input)).toContain("the run would overwrite it");
    expect(
      refusal(writeInput(ROWS, folder), join(folder, "..", folder.split("/").at(-1)!, "in.jsonl")),
    ).toContain("overwrite");
    copyFileSync(input, join(folder, "in.errors.jsonl"));
    expect(refusal(join(folder, "in.errors.jsonl"), join(folder, "in.jsonl"))).toContain("overwrite");
    expect(readdirSync(folder).sort()).toEqual(["in.errors.jsonl", "in.jsonl"]);
  });
});
