/** The module that `deploy-worker` installs; it reports the worker's state to systemd. */
export const supportModule = 'celeriac_support';

/**
 * Where the support module is on a host: a folder for each version, named by the module's digest.
 * Units of older versions name the parent folder, which had one module for all.
 */
export const supportRoot = '/usr/local/lib/celeriac';

/** Digits of the module's SHA-256 that name its folder. */
const digits = 12;

/** @param digest SHA-256 of the module, in hexadecimal digits */
export function supportFolder(digest: string): string {
  return `${supportRoot}/${digest.slice(0, digits)}`;
}

/** A folder of any version, as it is written in a module search path. */
export const anySupportFolder = `${supportRoot}(?:/[0-9a-f]{${digits}})?/*`;

const whole = new RegExp(`^${anySupportFolder}$`);

/** Whether this folder is that of the support module of any version. */
export const isSupportFolder = (folder: string): boolean => whole.test(folder);
