import type { Image, Say } from './image.ts';
import type { Instance } from './instance.ts';

/** What is known about a machine before it runs. */
export type Draft = Pick<Instance, 'name' | 'state' | 'ownerPid'> & {
  diskMegabytes?: number;
};

/** What each kind of host implements; machine.ts builds the interface for tests on it. */
export type Hardware = {
  /** Starts a new host in the draft's state. */
  start(image: Image, draft: Draft, say: Say): Promise<Instance>;
  /** Discards its changes; address, ports and keys stay. */
  reset(image: Image, instance: Instance, say: Say): Promise<Instance>;
  /** Reboots it; resolves once logins are possible. */
  bootAgain(
    image: Image,
    instance: Instance,
    cause: (run: (command: string) => Promise<unknown>) => Promise<unknown>,
  ): Promise<void>;
  /** Cuts the power and turns it on again; resolves once logins are possible. */
  crash(image: Image, instance: Instance): Promise<void>;
  powerOff(instance: Instance): Promise<void>;
  powerOn(image: Image, instance: Instance): Promise<Instance>;
  cutLink(instance: Instance): Promise<void>;
  restoreLink(instance: Instance): Promise<void>;
  freeze(instance: Instance): Promise<void>;
  thaw(instance: Instance): Promise<void>;
};
