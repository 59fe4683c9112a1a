/** Numbers that carry their unit: a `Bytes` cannot be passed as `Seconds`. */
declare const unit: unique symbol;

export type Bytes = number & { readonly [unit]: 'bytes' };
export type Seconds = number & { readonly [unit]: 'seconds' };
/** Seconds since 1970-01-01T00:00:00Z, by the host's clock. */
export type EpochSeconds = number & { readonly [unit]: 'epoch-seconds' };
/** Lower-case hex SHA-256 of a file's bytes. */
export type Sha256 = string & { readonly [unit]: 'sha256' };

export const bytes = (value: number): Bytes => value as Bytes;
export const seconds = (value: number): Seconds => value as Seconds;
export const epochSeconds = (value: number): EpochSeconds => value as EpochSeconds;
export const sha256Text = (value: string): Sha256 => value as Sha256;

export const KiB: Bytes = bytes(1024);
export const MiB: Bytes = bytes(1024 * KiB);
