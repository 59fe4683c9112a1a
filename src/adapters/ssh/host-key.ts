import { createHash } from 'node:crypto';

/** A host key as people compare it. */
export interface KeyPrint {
  /** `ssh-ed25519`, `ssh-rsa`… */
  readonly type: string;
  /** As `ssh-keygen -l` prints it: `SHA256:…`. */
  readonly fingerprint: string;
}

/**
 * Host key types → the signature algorithms to offer for them, strongest first. ssh-dss is left out:
 * OpenSSH dropped it, and nothing signs it safely.
 */
export const HOST_KEY_ALGORITHMS: ReadonlyMap<string, readonly string[]> = new Map([
  ['ssh-ed25519', ['ssh-ed25519']],
  ['ecdsa-sha2-nistp256', ['ecdsa-sha2-nistp256']],
  ['ecdsa-sha2-nistp384', ['ecdsa-sha2-nistp384']],
  ['ecdsa-sha2-nistp521', ['ecdsa-sha2-nistp521']],
  ['ssh-rsa', ['rsa-sha2-512', 'rsa-sha2-256']],
]);

/** `SHA256:…`, as `ssh-keygen -l` prints it. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The type a public key in SSH wire format names itself: its first string. */
export function keyType(key: Buffer): string | null {
  if (key.length < 4) return null;
  const length = key.readUInt32BE(0);
  if (length === 0 || length > 64 || key.length < 4 + length) return null;
  return key.toString('latin1', 4, 4 + length);
}

export function printKey(key: Buffer): KeyPrint {
  return { type: keyType(key) ?? 'unknown type', fingerprint: fingerprint(key) };
}

export function describeKey(print: KeyPrint): string {
  return `${print.fingerprint} (${print.type})`;
}
