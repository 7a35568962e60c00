-- What the view with a definition ($1) leads to, as the server's dependencies and the types of columns go: a fingerprint
-- of what it means (its own query, those of the views beneath it, and the functions, aggregates and operators of users
-- that they call), the relations, the types of users, and all schemas there are. Built-in objects have no dependencies;
-- what a function body given as a string calls is not known to the server. Nothing here is printed by name, which would
-- depend on the search path.
WITH RECURSIVE object AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS classid, $1 AS objid
    UNION
    SELECT n.classid, n.objid
    FROM object AS o
    CROSS JOIN LATERAL (
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid AS classid, r.oid AS objid
        FROM pg_catalog.pg_rewrite AS r
        JOIN pg_catalog.pg_class AS v ON v.oid OPERATOR(pg_catalog.=) r.ev_class
        WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
            AND r.ev_class OPERATOR(pg_catalog.=) o.objid AND v.relkind OPERATOR(pg_catalog.=) 'v'
        UNION ALL
        SELECT d.refclassid, d.refobjid
        FROM pg_catalog.pg_depend AS d
        WHERE d.classid OPERATOR(pg_catalog.=) o.classid AND d.objid OPERATOR(pg_catalog.=) o.objid
            AND o.classid OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog.pg_rewrite'::pg_catalog.regclass,
                'pg_catalog.pg_proc'::pg_catalog.regclass,
                'pg_catalog.pg_operator'::pg_catalog.regclass]::pg_catalog.oid[])
            AND d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog.pg_class'::pg_catalog.regclass,
                'pg_catalog.pg_proc'::pg_catalog.regclass,
                'pg_catalog.pg_operator'::pg_catalog.regclass,
                'pg_catalog.pg_type'::pg_catalog.regclass]::pg_catalog.oid[])
        UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, a.atttypid
        FROM pg_catalog.pg_attribute AS a
        WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
            AND a.attrelid OPERATOR(pg_catalog.=) o.objid
            AND a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
        UNION ALL
        SELECT t.classid, t.objid
        FROM pg_catalog.pg_type AS y
        CROSS JOIN LATERAL (VALUES
            ('pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, y.typelem),
            ('pg_catalog.pg_type'::pg_catalog.regclass, y.typbasetype),
            ('pg_catalog.pg_type'::pg_catalog.regclass,
                (SELECT g.rngsubtype FROM pg_catalog.pg_range AS g
                 WHERE y.oid OPERATOR(pg_catalog.=) ANY (ARRAY[g.rngtypid, g.rngmultitypid]))),
            ('pg_catalog.pg_class'::pg_catalog.regclass, y.typrelid)
        ) AS t (classid, objid)
        WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
            AND y.oid OPERATOR(pg_catalog.=) o.objid
            AND t.objid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    ) AS n
), part AS (
    SELECT o.classid, o.objid, r.ev_action::pg_catalog.text AS meaning
    FROM object AS o JOIN pg_catalog.pg_rewrite AS r ON r.oid OPERATOR(pg_catalog.=) o.objid
    WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    UNION ALL
    SELECT o.classid, o.objid, pg_catalog.concat_ws('|', p.prolang, p.provolatile, p.proisstrict, p.proretset,
        p.prosecdef, p.prosrc, p.probin, p.prosqlbody, p.proconfig,
        (SELECT pg_catalog.concat_ws('|', a.aggkind, a.aggnumdirectargs, a.aggtransfn::pg_catalog.oid,
                a.aggfinalfn::pg_catalog.oid, a.aggfinalextra, a.aggsortop, a.aggtranstype, a.agginitval,
                a.aggmtransfn::pg_catalog.oid, a.aggminvtransfn::pg_catalog.oid, a.aggmfinalfn::pg_catalog.oid,
                a.aggmfinalextra, a.aggmtranstype, a.aggminitval)
         FROM pg_catalog.pg_aggregate AS a
         WHERE a.aggfnoid OPERATOR(pg_catalog.=) p.oid))
    FROM object AS o JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) o.objid
    WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    UNION ALL
    SELECT o.classid, o.objid, pg_catalog.concat_ws('|', p.oprcode::pg_catalog.oid, p.oprcom, p.oprnegate, p.oprcanhash, p.oprcanmerge)
    FROM object AS o JOIN pg_catalog.pg_operator AS p ON p.oid OPERATOR(pg_catalog.=) o.objid
    WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
)
SELECT (
        SELECT pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(':', p.classid, p.objid, pg_catalog.md5(p.meaning)), ',' ORDER BY p.classid, p.objid))
        FROM part AS p
    ) AS fingerprint,
    pg_catalog.string_agg(o.objid::pg_catalog.text, ',')
        FILTER (WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) AS relations,
    pg_catalog.string_agg(o.objid::pg_catalog.text, ',')
        FILTER (WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass) AS types,
    (SELECT pg_catalog.string_agg(s.oid::pg_catalog.text, ',') FROM pg_catalog.pg_namespace AS s) AS schemas
FROM object AS o
