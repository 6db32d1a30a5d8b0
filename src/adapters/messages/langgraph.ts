/** What the sessions of {@link TurnlogSaver} have as their `format`. */
export const LANGGRAPH_FORMAT = 'langgraph'
