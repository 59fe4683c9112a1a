/** What went wrong with the sandbox, in words for the person at the terminal. */
export class SandboxError extends Error {
  override readonly name = 'SandboxError';
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
