import { z } from 'zod';
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
        version: text.nullable(),
        same: z.boolean(),
      }),
      ...noFile,
    ]),
    accounts: z.record(
      text,
      z
        .object({
          uid: z.number(),
          home: text,
          shell: text,
          groups: texts,
          ours: z.boolean(),
          processes: z.number(),
        })
        .nullable(),
    ),
    owned: z.record(text, z.object({ paths: texts, whole: z.boolean() })).nullable(),
    sshd: z.record(text, z.record(text, texts).nullable()),
    sudoers: z.object({ visudo: z.boolean(), problem: text.nullable() }),
    loose: z.array(z.object({ path: text, owner: text, mode: text })),
    folders: z.record(text, texts.nullable()),
  }),
);
