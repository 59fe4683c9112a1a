/** Whether there is time for what takes minutes more: `npm run long`. */
export const isLong = process.env.CELERIAC_TEST_LONG === '1';
