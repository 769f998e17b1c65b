import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { ConfigurationError } from "./errors.ts";

interface Address {
  host: string;
  /** 0 takes any that is free. */
  port: number;
  /** The ports after it that are tried when it is busy. */
  furtherPorts: number;
}

/** What is said when none of the ports can be had. */
interface Complaint {
  /** Such as `the API`. */
  what: string;
  hint: string;
  code: string;
}

/** Lets a server listen, and returns its port. @throws ConfigurationError */
export async function listen(
  server: Server,
  { host, port, furtherPorts }: Address,
  { what, hint, code }: Complaint,
): Promise<number> {
  const last = port === 0 ? 0 : Math.min(port + furtherPorts, 65_535);
  for (let candidate = port; ; candidate++) {
    try {
      server.listen({ host, port: candidate });
      await once(server, "listening");
      return (server.address() as AddressInfo).port;
    } catch (error) {
      const { code: fault, message } = error as NodeJS.ErrnoException;
      if (fault === "EADDRINUSE" && candidate < last) continue;
      const ports = `${port}${last > port ? ` to ${last}` : ""}`;
      throw new ConfigurationError(
        `${what} cannot listen on ${host}, port ${ports}: ${fault ?? message}`,
        hint,
        code,
      );
    }
  }
}

/** Closes a server with its connections; one that does not listen is closed. */
export async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  server.closeAllConnections();
  await once(server, "close");
}
