import { z } from 'zod/mini';
import type { HardeningFact } from '../../model/hardening.ts';
import { noFile } from './host-facts.ts';
import { sha256, shapeOf, text, texts } from './shape.ts';

export const hardeningShape = shapeOf<HardeningFact>()(
  z.object({
    python: text,
    version: text,
    agent: z.discriminatedUnion('kind', [
      z.object({
        kind: z.literal('agent'),
        sha256,
        mode: text,
        owner: text,
        version: z.nullable(text),
        same: z.boolean(),
      }),
      ...noFile,
    ]),
    accounts: z.record(
      text,
      z.nullable(
        z.object({
          uid: z.number(),
          home: text,
          shell: text,
          groups: texts,
          ours: z.boolean(),
          processes: z.number(),
        }),
      ),
    ),
    owned: z.nullable(z.record(text, z.object({ paths: texts, whole: z.boolean() }))),
    sshd: z.record(text, z.nullable(z.record(text, texts))),
    sudoers: z.object({ visudo: z.boolean(), problem: z.nullable(text) }),
    loose: z.array(z.object({ path: text, owner: text, mode: text })),
    folders: z.record(text, z.nullable(texts)),
  }),
);
