import { ConfigError, HostError } from '../../src/model/errors.ts';

/** Waits for work that must fail with an error of this class, and gives the error. */
const refusalAs =
  <Refusal extends Error>(kind: abstract new (...args: never[]) => Refusal) =>
  async (work: Promise<unknown>): Promise<Refusal> => {
    const error = await work.then(
      () => new Error(`expected a ${kind.name}, but the work succeeded`),
      (thrown: unknown) => thrown,
    );
    if (error instanceof kind) return error;
    throw error;
  };

export const hostRefusal = refusalAs(HostError);
export const configRefusal = refusalAs(ConfigError);
