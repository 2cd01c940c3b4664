/** An API server that was away is asked again this soon, although nothing has changed that would bring the retry forward. */
export const maxRetryDelayMs = 30_000;
