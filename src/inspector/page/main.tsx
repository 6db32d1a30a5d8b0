import './style.css'
import { render, type VNode } from 'preact'
import { Actors } from './actors.tsx'
import { place } from './address.ts'
import { about, get } from './client.ts'
import type { About } from '../wire.ts'
import { Home } from './home.tsx'
import { SessionPage } from './session-page.tsx'
import { Header } from './header.tsx'

function App(): VNode {
  const { page } = place.value
  return (
    <>
      <Header />
      <main id="main" class={page}>
        {page === 'session' ? <SessionPage /> : page === 'actors' ? <Actors /> : <Home />}
      </main>
    </>
  )
}

render(<App />, document.body)
about.value = await get<About>('about')
