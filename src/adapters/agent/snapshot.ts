import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import { HostError } from '../../model/errors.ts';
import type { SnapshotInfo } from '../../model/outcome.ts';
import type { Bytes } from '../../model/units.ts';
import { protocolError } from './agent-errors.ts';

/** Collects the pieces of a database copy, within its size limit. */
export class SnapshotPieces {
  readonly #database: string;
  readonly #limitBytes: Bytes;
  readonly #step: string;
  readonly #pieces: Buffer[] = [];
  #packedBytes = 0;

  constructor(database: string, limitBytes: Bytes, step: string) {
    this.#database = database;
    this.#limitBytes = limitBytes;
    this.#step = step;
  }

  /** @throws HostError when there is more than the limit allows */
  add(base64: string): void {
    const piece = Buffer.from(base64, 'base64');
    this.#packedBytes += piece.length;
    // zlib adds at most a few bytes per block.
    if (this.#packedBytes > this.#limitBytes + this.#limitBytes / 1000 + 1024) {
      throw this.#tooLarge();
    }
    this.#pieces.push(piece);
  }

  /** @throws HostError when the copy is larger than the limit, or is not what the info says */
  async unpack(info: SnapshotInfo): Promise<Uint8Array> {
    const content = await this.#inflate();
    const sha256 = createHash('sha256').update(content).digest('hex');
    if (content.length !== info.sizeBytes || sha256 !== info.sha256) {
      throw protocolError(this.#step, 'the copy arrived incomplete or damaged', [
        `expected: ${info.sizeBytes} bytes, SHA-256 ${info.sha256}`,
        `got:      ${content.length} bytes, SHA-256 ${sha256}`,
      ]);
    }
    return content;
  }

  async #inflate(): Promise<Buffer> {
    const maxOutputLength = Math.max(1, this.#limitBytes);
    try {
      return await inflateAll(Buffer.concat(this.#pieces), { maxOutputLength });
    } catch (error) {
      if (error instanceof RangeError) throw this.#tooLarge();
      throw protocolError(this.#step, 'the copy arrived incomplete or damaged', []);
    }
  }

  #tooLarge(): HostError {
    return new HostError(
      `${this.#database} is larger than the limit of ${this.#limitBytes} bytes, so it was not copied`,
      {
        step: this.#step,
        evidence: [],
        next: 'name a smaller database, or delete old rows from this one',
      },
    );
  }
}

const inflateAll = promisify(inflate) as (
  data: Buffer,
  options: { readonly maxOutputLength: number },
) => Promise<Buffer>;
