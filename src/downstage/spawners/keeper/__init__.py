"""The keeper: one small process for each instance, which owns all that runs in it.

Run as ``python -m downstage.spawners.keeper <instance folder>``. It survives the platform,
waits a while for it to come back, and ends everything where it does not. Standard library
only, one thread, one loop.

**Control socket** ``keeper.sock``, JSON lines; the 0700 folder is its guard.

===============================  ===================================================
to the keeper                    meaning
===============================  ===================================================
``{"do": "attach"}``             send the report now and at every change
``{"do": "stop", "reason": …}``  end it in order: SIGTERM, grace, SIGKILL
``{"do": "kill"}``               end it now
===============================  ===================================================

Back come `Report` objects, one a line; after the one with phase ``ended`` the socket closes
and nothing of the instance runs any more.
"""
