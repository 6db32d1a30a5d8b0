// LangGraph with its threads in turnlog: an approval that is asked for in one process and given in another; what a no would have done, in a fork of the
// whole thread; and a thread that was deleted comes back. A real graph, and a model that answers from a list.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AIMessage, HumanMessage } from '@langchain/core/messages'
import { FakeListChatModel } from '@langchain/core/utils/testing'
import { Command, interrupt, MessagesAnnotation, START, StateGraph } from '@langchain/langgraph'
import { createSessionHistory, type Session, type SessionHistoryService } from 'turnlog'
import { toMessages, TurnlogSaver, type ThreadItem } from 'turnlog/langgraph'
import { sqliteStore } from 'turnlog/sqlite'

const store = { path: join(mkdtempSync(join(tmpdir(), 'turnlog-')), 'sessions.db') }
const bill = { userId: 'ada', id: 'bill' }
const thread = (thread_id: string): object => ({ configurable: { thread_id } })

// The clerk says what it will do, and does it when it may.
const clerk = (history: SessionHistoryService, ...responses: string[]) => {
  const model = new FakeListChatModel({ responses })
  const saver = new TurnlogSaver({ history, userId: 'ada' })
  const graph = new StateGraph(MessagesAnnotation)
    .addNode('model', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
    .addNode('pay', () => ({ messages: [new AIMessage(interrupt('Pay?') === 'yes' ? 'Paid.' : 'Not paid.')] }))
    .addEdge(START, 'model')
    .addEdge('model', 'pay')
    .compile({ checkpointer: saver })
  return { saver, graph }
}

// One process asks, and ends.
const history = await createSessionHistory({ store: sqliteStore(store) })
const before = clerk(history, 'It is 40 euros.')
await before.graph.invoke({ messages: [new HumanMessage('Pay the bill.')] }, thread('bill'))
show('asked', await before.saver.history.getSession('ada', 'bill'))
await history.stop()

// Another, later: it goes on where it was.
const later = await createSessionHistory({ store: sqliteStore(store) })
const { saver, graph } = clerk(later)
const waiting = (await saver.history.getSession('ada', 'bill'))!.version
await graph.invoke(new Command({ resume: 'yes' }), thread('bill'))
show('approved', await saver.history.getSession('ada', 'bill'))

// The whole thread as it was while it waited, in another thread: what would a no have done?
await saver.history.fork(bill, { at: waiting, sessionId: 'what if' })
await graph.invoke(new Command({ resume: 'no' }), thread('what if'))
show('in a fork', await saver.history.getSession('ada', 'what if'))

// A thread is deleted, and comes back.
await saver.deleteThread('bill')
console.log('deleted:', await saver.getTuple(thread('bill')))
await saver.history.rewind(bill, waiting)
show('back, as it waited', await saver.history.getSession('ada', 'bill'))
await later.stop()

// What it says can be read without LangGraph, too.
function show(title: string, session: Session<ThreadItem> | null): void {
  const texts = toMessages(session!.messages).map(({ content }) => content?.[0]?.text)
  console.log(`${title}: ${texts.join(' ')}`)
}
