import type { Image, Say } from './image.ts';
import type { Instance } from './instance.ts';

/** What is decided about a machine before it runs. */
export type Draft = Pick<Instance, 'name' | 'state' | 'ownerPid'> & {
  diskMegabytes?: number;
};

/** What a kind of host can do; machine.ts makes of it what tests see. */
export type Hardware = {
  /** A new host, in the state that the draft names. */
  start(image: Image, draft: Draft, say: Say): Promise<Instance>;
  /** Throws its changes away; the same address, ports and keys. */
  reset(image: Image, instance: Instance, say: Say): Promise<Instance>;
  /** Makes it boot again; resolves once logins are open. */
  bootAgain(
    image: Image,
    instance: Instance,
    cause: (run: (command: string) => Promise<unknown>) => Promise<unknown>,
  ): Promise<void>;
  /** The power goes and comes back; resolves once logins are open. */
  crash(image: Image, instance: Instance): Promise<void>;
  powerOff(instance: Instance): Promise<void>;
  powerOn(image: Image, instance: Instance): Promise<Instance>;
  cutLink(instance: Instance): Promise<void>;
  restoreLink(instance: Instance): Promise<void>;
  freeze(instance: Instance): Promise<void>;
  thaw(instance: Instance): Promise<void>;
};
