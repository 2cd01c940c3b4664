/** What the operator is called where the API server keeps who wrote which field. */
export const fieldManager = 'portcullis-operator';
