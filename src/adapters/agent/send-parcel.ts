import type { Parcel } from '../../ports/code.ts';
import { receivedShape } from '../shapes/answers.ts';
import { protocolError } from './agent-errors.ts';
import { readAnswer } from './read-answer.ts';

/** As base64 in a message, this is less than the limit of a line. */
const PIECE_BYTES = 720 * 1024;

/** Sends one `receive` request and returns its answer. */
export type AskReceiver = (message: Readonly<Record<string, unknown>>) => Promise<unknown>;

/**
 * Sends a parcel in pieces.
 *
 * @returns false when the host had it already
 */
export async function sendParcel(
  parcel: Parcel,
  step: string,
  askReceiver: AskReceiver,
): Promise<boolean> {
  const { sha256, sizeBytes, content } = parcel;
  const ask = async (message: Readonly<Record<string, unknown>>) => {
    const answer = await askReceiver({ ask: 'receive', sha256, ...message });
    return readAnswer(answer, receivedShape, 'receive', step);
  };
  const { whole } = await ask({ step: 'begin', sizeBytes });
  if (whole) return false;
  for (let offset = 0; offset < content.length; offset += PIECE_BYTES) {
    const piece = content.subarray(offset, offset + PIECE_BYTES);
    const data = Buffer.from(piece).toString('base64');
    const received = await ask({ step: 'piece', offset, data });
    if (received.sizeBytes !== offset + piece.length) {
      throw protocolError(
        step,
        `the host has ${received.sizeBytes} bytes, expected ${offset + piece.length}`,
        [],
      );
    }
  }
  await ask({ step: 'end' });
  return true;
}
