declare module '@vercel/ncc' {
  interface Asset {
    readonly source: string | Buffer;
    readonly permissions?: number;
  }

  interface Options {
    readonly cache?: boolean;
    readonly externals?: Readonly<Record<string, string>>;
    readonly filename?: string;
    readonly license?: string;
    readonly minify?: boolean;
    readonly quiet?: boolean;
    readonly sourceMap?: boolean;
    readonly target?: string;
  }

  export default function ncc(
    input: string,
    options: Options,
  ): Promise<{ readonly code: string; readonly assets: Readonly<Record<string, Asset>> }>;
}
