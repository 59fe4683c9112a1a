/** An error of the sandbox, with a message for people. */
export class SandboxError extends Error {
  override readonly name = 'SandboxError';
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
