import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { replaceFile } from "../batch/durable-file.ts";
import { outputFileError } from "../batch/file-errors.ts";
import { readLines } from "../batch/line-reader.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";
import { type Group, groupSchema, type RolloutSpec, rolloutSpecSchema } from "./group.ts";
import type { RolloutRow } from "./rollout-rows.ts";

/*
 * The folder of a rollout:
 *
 * | file             | content                                                                                   |
 * |------------------|-------------------------------------------------------------------------------------------|
 * | `rollout.json`   | its id, under which its runs stand in Redis, and what it was begun with                   |
 * | `groups.jsonl`   | a line per finished group, in the order of their ends, each synced before it counts        |
 * | the others       | made of `groups.jsonl` whenever all groups are there (`write-results.ts`), each in one step |
 */

const manifestSchema = z.object({
  v: z.literal(1),
  id: z.string(),
  /** Of the rows and all of the spec but its rewards. */
  digest: z.string(),
  spec: rolloutSpecSchema,
  rows: z.int(),
  createdAt: z.string(),
});
type Manifest = z.infer<typeof manifestSchema>;

/** No group of a run's output is larger. */
const MAX_LINE_BYTES = 512 * 1024 * 1024;

/** What has been collected of a rollout, on disk. */
export class RolloutFolder {
  readonly path: string;
  #manifest: Manifest;
  readonly #groups: FileHandle;
  readonly #places = new Map<number, { offset: number; bytes: number }>();

  /**
   * Opens a folder to go on with, or begins one.
   * @throws InputError (`other_rollout`) when it holds a rollout of other rows or options; ConfigurationError when it cannot be
   * written
   */
  static async open(path: string, spec: RolloutSpec, rows: readonly RolloutRow[]): Promise<RolloutFolder> {
    return writing(path, async () => {
      await mkdir(path, { recursive: true, mode: 0o700 });
      const digest = digestOf(spec, rows);
      const standing = await readManifest(path);
      if (standing) checkSame(path, standing, spec, digest);
      const manifest = standing ?? {
        v: 1,
        id: randomUUID(),
        digest,
        spec,
        rows: rows.length,
        createdAt: new Date().toISOString(),
      };
      if (!standing) await writeText(join(path, "rollout.json"), `${JSON.stringify(manifest, null, 2)}\n`);
      return RolloutFolder.#with(path, manifest);
    });
  }

  /** Opens the folder of a rollout that is there. @throws InputError when there is none */
  static async existing(path: string): Promise<RolloutFolder> {
    const manifest = await readManifest(path);
    if (manifest) return writing(path, () => RolloutFolder.#with(path, manifest));
    throw new InputError(`${path} holds no rollout`, "gluellm rollout IN.jsonl -o FOLDER makes one");
  }

  static async #with(path: string, manifest: Manifest): Promise<RolloutFolder> {
    // Appending, so that a second process in the same folder adds lines and spoils none.
    const groups = await open(join(path, "groups.jsonl"), "a+", 0o600);
    const folder = new RolloutFolder(path, manifest, groups);
    try {
      await folder.#scan();
    } catch (error) {
      await groups.close();
      throw error;
    }
    return folder;
  }

  private constructor(path: string, manifest: Manifest, groups: FileHandle) {
    this.path = path;
    this.#manifest = manifest;
    this.#groups = groups;
  }

  /** The rollout's id. */
  get id(): string {
    return this.#manifest.id;
  }

  get spec(): RolloutSpec {
    return this.#manifest.spec;
  }

  get rows(): number {
    return this.#manifest.rows;
  }

  has(group: number): boolean {
    return this.#places.has(group);
  }

  /** The groups that are there. */
  get count(): number {
    return this.#places.size;
  }

  /** Adds a finished group; it is on the disk before this returns. */
  async add(group: Group): Promise<void> {
    await writing(this.path, async () => {
      await this.#groups.appendFile(`${JSON.stringify(group)}\n`);
      await this.#groups.datasync();
    });
    await this.#scan();
  }

  /** Yields all groups that are there, in the order of their rows. */
  async *groups(): AsyncGenerator<Group> {
    const order = [...this.#places.keys()].sort((a, b) => a - b);
    for (const group of order) {
      const { offset, bytes } = this.#places.get(group) as { offset: number; bytes: number };
      const { buffer } = await this.#groups.read(Buffer.alloc(bytes), 0, bytes, offset);
      yield groupSchema.parse(JSON.parse(buffer.toString()));
    }
  }

  /** Replaces the groups by the same with other scores, and the rewards that the folder is said to have. */
  async replace(groups: AsyncIterable<Group>, rewards: RolloutSpec["rewards"]): Promise<RolloutFolder> {
    await replaceFile(join(this.path, "groups.jsonl"), toLines(groups));
    const manifest = { ...this.#manifest, spec: { ...this.spec, rewards } };
    await this.write("rollout.json", toBuffers([`${JSON.stringify(manifest, null, 2)}\n`]));
    await this.close();
    return RolloutFolder.#with(this.path, manifest);
  }

  /** Writes a file of the folder in one step. */
  async write(name: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    const path = join(this.path, name);
    if (name.includes("/")) await mkdir(join(path, ".."), { recursive: true });
    await replaceFile(path, chunks);
  }

  async close(): Promise<void> {
    await this.#groups.close();
  }

  #scanned = 0;
  #scanning: Promise<void> = Promise.resolve();

  /** Finds the lines that came since the last look. A line that a kill tore counts as none, and is ended. */
  #scan(): Promise<void> {
    this.#scanning = this.#scanning.then(async () => {
      for await (const line of readLines(this.#groups, MAX_LINE_BYTES, this.#scanned)) {
        if (!line.ended) {
          await this.#groups.appendFile("\n");
          break;
        }
        this.#scanned = line.nextOffset;
        const found = groupSchema.safeParse(parseJson(line.data.toString()));
        if (found.success && !this.#places.has(found.data.group))
          this.#places.set(found.data.group, { offset: line.offset, bytes: line.bytes });
      }
    });
    return this.#scanning;
  }
}

/** Returns values as JSON lines. */
export async function* toLines(values: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const value of values) yield Buffer.from(`${JSON.stringify(value)}\n`);
}

export async function* toBuffers(texts: readonly string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

async function readManifest(path: string): Promise<Manifest | undefined> {
  const file = join(path, "rollout.json");
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw outputFileError(error, file);
  });
  if (text === undefined) return undefined;
  const manifest = manifestSchema.safeParse(parseJson(text));
  if (manifest.success) return manifest.data;
  throw new InputError(`${file} cannot be read as that of a rollout`, "choose another folder with -o");
}

function checkSame(path: string, standing: Manifest, spec: RolloutSpec, digest: string): void {
  const code = "other_rollout";
  if (standing.digest !== digest) {
    const hint = "give the same input and options to go on with it, or choose another folder with -o";
    throw new InputError(`${path} holds a rollout of another input or other options`, hint, code);
  }
  if (canonicalJson(standing.spec.rewards) === canonicalJson(spec.rewards)) return;
  const had = standing.spec.rewards.map(({ name }) => name).join(", ") || "none";
  const hint = `its rewards are: ${had}; gluellm rollout rescore gives its samples others without paying`;
  throw new InputError(`${path} holds a rollout with other rewards`, hint, code);
}

function digestOf({ rewards: _, ...spec }: RolloutSpec, rows: readonly RolloutRow[]): string {
  return sha256(`${canonicalJson(spec)}\n${sha256(rows.map((row) => canonicalJson(row)).join("\n"))}`);
}

async function writeText(path: string, text: string): Promise<void> {
  await replaceFile(path, toBuffers([text]));
}

async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const isOfSystem = typeof (error as NodeJS.ErrnoException).errno === "number";
    throw isOfSystem ? outputFileError(error, path) : error;
  }
}
