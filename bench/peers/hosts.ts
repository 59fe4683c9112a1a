import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../sandbox/machine.ts';
import { type DelayProxy, openDelayProxy } from '../delay-proxy.ts';

/** A host as it is reached in one measurement. */
export interface ReachedHost {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** Its host keys, as lines of known_hosts. */
  readonly knownHosts: string;
  readonly knownHostsPath: string;
  readonly keyPath: string;
  readonly key: string;
}

/** Machines as far away as a round trip takes; 0: as they are, without a proxy between. */
export class ReachedHosts implements AsyncDisposable {
  readonly hosts: readonly ReachedHost[];
  readonly #proxies: readonly DelayProxy[];

  private constructor(hosts: readonly ReachedHost[], proxies: readonly DelayProxy[]) {
    this.hosts = hosts;
    this.#proxies = proxies;
  }

  /** `folder`: for their known_hosts. */
  static async reach(
    machines: readonly Machine[],
    roundTripMs: number,
    folder: string,
  ): Promise<ReachedHosts> {
    const proxies: DelayProxy[] = [];
    const hosts: ReachedHost[] = [];
    for (const [index, machine] of machines.entries()) {
      const name = `web${index + 1}`;
      let place = { host: machine.host, port: machine.sshPort };
      if (roundTripMs > 0) {
        const distance = { milliseconds: roundTripMs, slowStart: false };
        const proxy = await openDelayProxy(place, distance);
        proxies.push(proxy);
        place = { host: '127.0.0.1', port: proxy.port };
      }
      const known = place.port === 22 ? place.host : `[${place.host}]:${place.port}`;
      const knownHosts = machine.knownHosts.replaceAll(/^\S+/gm, known);
      const knownHostsPath = join(folder, `${name}-${roundTripMs}.known_hosts`);
      writeFileSync(knownHostsPath, knownHosts);
      const { keyPath, key } = machine;
      const { host: address, port } = place;
      hosts.push({ name, address, port, knownHosts, knownHostsPath, keyPath, key });
    }
    return new ReachedHosts(hosts, proxies);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]();
  }
}
