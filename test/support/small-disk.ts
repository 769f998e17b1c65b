import { execFileSync } from "node:child_process";
import { statfsSync } from "node:fs";
import { onTestFinished } from "vitest";

export interface SmallDisk extends Disposable {
  /** @param size as `mount` takes it, such as `2m` */
  resize(size: string): void;
  /** Leaves no room, until it is resized. */
  fill(): void;
}

const MAX_TRIES = 20;

/** Mounts a disk of its own in memory on a folder, until the test ends; undefined where that is not allowed: it is to root, on Linux. */
export function mountDisk(folder: string, size: string): SmallDisk | undefined {
  const mount = (...args: string[]) => execFileSync("mount", args, { stdio: "ignore" });
  const resize = (to: string) => mount("-o", `remount,size=${to}`, folder);
  try {
    mount("-t", "tmpfs", "-o", `size=${size}`, "none", folder);
  } catch {
    return undefined;
  }
  let isMounted = true;
  const unmount = () => {
    if (isMounted) execFileSync("umount", ["-l", folder]);
    isMounted = false;
  };
  onTestFinished(unmount);
  return {
    resize,
    fill: () => {
      for (let tries = 1; ; tries++) {
        const { blocks, bfree, bsize } = statfsSync(folder);
        try {
          return resize(String(Math.max(1, blocks - bfree) * bsize));
        } catch (error) {
          // Meanwhile more was written than that.
          if (tries === MAX_TRIES) throw error;
        }
      }
    },
    [Symbol.dispose]: unmount,
  };
}
